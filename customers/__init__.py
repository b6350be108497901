"""The customers service: takes customers and invoices."""
