"""Children with limits of memory and time, for code and templates that a model brings along."""
