"""What the user asked for, checked before anything heavy begins.

`params` has every option once; `resolve` asks the host where the named things are; `variants` says
who is compared with whom; `plan` puts it together. Nothing is imported here, because the command
line needs `params` alone to answer `--help` or a mistyped option.
"""
