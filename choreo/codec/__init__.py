"""Events to records and back."""
from choreo.codec.encoder import encoder
