"""Check what the user asked for before anything slow begins.

`params` declares every option once; `resolve` asks the host where models, adapters and data are;
`variants` names the variants that are compared; `plan` puts all of it together. This file imports
nothing, because the command line needs only `params` to answer `--help` or a mistyped option.
"""
