"""hitless: releases without a failed request."""

__version__ = "0.1.0"
