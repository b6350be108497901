"""The accounts service: answers what every account has earned."""
