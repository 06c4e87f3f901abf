"""Several runs compared: studies, breakdowns of scores, sentences and tables of results."""
