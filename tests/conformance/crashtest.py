#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether clients notice nothing when the serving process dies; see crashtest/__init__.py."""
import sys

from crashtest.main import main

if __name__ == "__main__":
    sys.exit(main())
