"""Options in, a dataclass out: the only place that joins the parts. Nothing here prints or exits."""
