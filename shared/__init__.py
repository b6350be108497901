"""What both services use: the published language, its rules, and the manner of their HTTP."""
