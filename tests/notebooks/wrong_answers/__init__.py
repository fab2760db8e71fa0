"""Wrong answers that students give, by lab and exercise.

For each: what stands in place of the solution, and what the message must say ("" where it is enough
that the check fails).
"""

from wrong_answers import compression, engine, movements, quantization, studies

WRONG = quantization.WRONG | compression.WRONG | movements.WRONG | studies.WRONG | engine.WRONG
