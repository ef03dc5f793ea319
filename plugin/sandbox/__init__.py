"""The sandbox: run code that a model wrote, where it can do no harm.

`bubblewrap` builds it around one Python process, `watch` ends what goes too far, `inside` is the
program in it, and `proof` shows on this machine that it holds, before the first run. Nothing that a
model wrote is run, or even parsed, in this program's own process.
"""
