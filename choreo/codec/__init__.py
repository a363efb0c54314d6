"""Events as bytes: Avro bodies and CloudEvents headers.

Everything between an event and a record lives in this package; what the schemas are does not. The runtime, the
publisher and the tracker call what is named here.
"""

from choreo.codec.decoder import HIDDEN, decoder, plain_decoder
from choreo.codec.encoder import MAGIC, encoder
from choreo.codec.record_codec import EVENT_BYTES_MAX, Codec
from choreo.codec.schemas import Schemas

__all__ = ["EVENT_BYTES_MAX", "HIDDEN", "MAGIC", "Codec", "Schemas", "decoder", "encoder", "plain_decoder"]
