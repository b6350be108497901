"""What runs both services, their tails and a private Redis on one machine."""
