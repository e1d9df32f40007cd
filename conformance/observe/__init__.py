"""What did happen: observations, and traces decoded."""
