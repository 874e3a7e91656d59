#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether a mount shows what is changed behind it; see coherencetest/__init__.py."""
import sys

from coherencetest.main import main

if __name__ == "__main__":
    sys.exit(main())
