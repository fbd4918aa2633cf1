"""How good an encoder is: protocols, what they judge, and their reports."""
