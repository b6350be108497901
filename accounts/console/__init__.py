"""The console: one page on which people see revenue change, and admins what it is made of."""
