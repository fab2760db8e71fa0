"""`labkit net`: train, evaluate, quantise, examine and export a network over any image folder.

Source: P. J. Pereira Vieito, master's thesis (UPC and Università di Bologna, 2017), section 3.2,
whose NeuralNetTool this is in today's terms.
"""

from labkit.errors import LabkitError


class NetError(LabkitError):
    """Options, images, weights or files that do not go together; the message is one line."""
