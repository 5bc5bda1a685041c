"""How layers are joined: gates, highways, skips over several layers, and maps through a narrow middle."""

from lamina.nn.connections.gate import Gate
from lamina.nn.connections.highway import Highway
from lamina.nn.connections.highway_recurrent import HighwayRecurrent
from lamina.nn.connections.low_rank import LowRankLinear
from lamina.nn.connections.skips import SkipConnections

__all__ = ["Gate", "Highway", "HighwayRecurrent", "LowRankLinear", "SkipConnections"]
