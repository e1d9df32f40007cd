"""Joins the stages: runs cases, explores, shrinks, keeps what was found."""
