"""A small seeded part of `make torture`: the same trials, few of each, in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import ENVIRONMENT

from torture.report import table

pytestmark = pytest.mark.slow
