"""One module per verb: compose, check, call, report. `python -m aiplat` lists them."""
