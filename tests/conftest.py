"""What every test runs without: a model that happens to be in the environment."""

import os

for name in [name for name in os.environ if name.startswith("OPENAI_")]:
    del os.environ[name]
