"""Reports: records in, markdown and figures out. Needs no engine and never torch."""
