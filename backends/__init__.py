"""The engines that can run a kernel image: a module or package each, behind one protocol."""
