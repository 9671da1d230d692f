"""How models write the calls of tools: a file for each form, with its grammar and its parser."""
