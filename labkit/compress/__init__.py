"""Techniques that make a trained network smaller; none of them changes the model it is given."""
