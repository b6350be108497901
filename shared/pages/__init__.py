"""What either service shows people: the description of its API, and what each kind of problem means."""
