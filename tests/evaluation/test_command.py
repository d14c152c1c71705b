"""What is evaluated, and what tables call it."""

import pytest

from frih.config import Config
from frih.evaluation.command import Subject


@pytest.mark.parametrize(
    ("model", "submasks", "name"),
    [
        ({}, {}, "FRIH"),
        ({}, {"cutoff": 0.2}, "FRIH"),
        ({}, {"method": "kmeans"}, "FRIH (kmeans)"),
        ({"fusion": False}, {}, "Baseline+Cascade Submask"),
        ({"fusion": False}, {"method": "whole"}, "Baseline+Cascade Globalmask"),
        ({"cascade": False, "fusion": False}, {}, "Baseline"),
        ({"network": "mine"}, {}, "mine"),
    ],
)
def test_networks_have_the_names_of_the_papers_tables(model, submasks, name):
    config = Config.model_validate({"model": model, "submasks": submasks})
    assert Subject(config, model=object()).name == name
    assert Subject(config).name == ""
