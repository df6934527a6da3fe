"""The local factor of a three-factor rule with the sigmoid surrogate."""
