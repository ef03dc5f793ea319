"""Tools of the developers; hosts never get them."""
