"""Studies: their files (`files`, `spec`), their plans (`plan`) and running them (`runner`).

Import from the modules: `spec` is light, `plan` and `runner` bring torch.
"""
