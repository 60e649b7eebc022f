"""How rows were observed: what one of them says of where it truly is, and what density it has."""
