"""Literal types of settings with a closed set of values.

Names of attacks, batteries, defenses and the like are `str`, checked against `fftune.registry`.
"""

from typing import Literal

Norm = Literal["linf", "l2"]
Goal = Literal["adversarial", "targeted", "hypocritical", "stability", "hedge", "label_free"]
Loss = Literal["ce", "margin", "dlr", "probability_margin", "kl", "linear"]
Start = Literal["uniform", "gaussian", "narrow", "sphere", "none"]
Protocol = Literal["last_iterate", "best_loss", "first_success", "last_success"]
"""Point that a search hands over; see `AttackConfig.protocol`."""
RowProtocol = Literal["last_iterate", "best_loss", "first_success", "last_success", "certified"]
"""Protocol of rows: that of an attack, or a bound that no attack exceeds. Rows of before 0.3 say
`fixed` for the first two and `strong` for `first_success`."""
Tier = Literal["screen", "escalating", "full"]
Precision = Literal["fp32", "bf16", "auto"]
Device = Literal["auto", "cpu", "cuda"]
Constants = Literal["paper", "code"]
Algorithm = Literal["sgd", "adam_lp"]
Schedule = Literal["one_cycle", "step", "linear", "held_cosine"]
Compile = Literal["auto", "on", "off"]
TrainPrecision = Literal["fp32", "bf16"]
Split = Literal["train", "validation", "test"]
Engine = Literal["auto", "ffcv", "memory", "torch"]
Selection = Literal["validation", "test"]
StoppingRule = Literal["fronts", "moasha"]
"""Rule of early stopping; see `sweeping.early_stopping.ParetoHalving`."""
Backend = Literal["inline", "ray"]
ResultForm = Literal["text", "markdown", "json", "csv"]
"""Form of a verb's result on stdout."""
GateMeasure = Literal["accuracy", "robust_accuracy", "adversarial_risk", "hypocritical_risk"]
"""Measure of which a gate compares two nets; `accuracy` is that on clean images."""
