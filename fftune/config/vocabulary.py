"""The words that settings may take, one spelling each."""

from typing import Literal

Norm = Literal["linf", "l2"]
Goal = Literal["adversarial", "targeted", "hypocritical", "stability", "hedge", "label_free"]
Loss = Literal["ce", "margin", "dlr", "kl"]
Start = Literal["uniform", "gaussian", "sphere", "none"]
Search = Literal["fgsm", "pgd", "cw", "deepfool", "apgd", "fab", "square", "rays"]
Protocol = Literal["fixed", "strong"]
Battery = Literal["risks", "nine", "autoattack", "hypocritical", "targets"]
Tier = Literal["screen", "standard", "full"]
Precision = Literal["fp32", "bf16", "auto"]
Device = Literal["auto", "cpu", "cuda"]
Objective = Literal["standard", "pgd_at", "trades", "thrm", "fast_at"]
Constants = Literal["paper", "code"]
Algorithm = Literal["sgd", "adamw"]
Schedule = Literal["one_cycle", "step", "linear"]
TrainPrecision = Literal["fp32", "bf16"]
Split = Literal["train", "validation", "test"]
Engine = Literal["auto", "ffcv", "memory", "torch"]
Strategy = Literal["auto", "gap", "grid", "gp", "tpe", "random"]
Selection = Literal["validation", "test"]
Backend = Literal["inline", "ray"]
