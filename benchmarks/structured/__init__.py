"""Whether answers that follow a JSON schema are valid: schemas, answers by chance, and a judge that is not llmrt."""
