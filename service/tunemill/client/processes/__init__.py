"""Executors in other processes: what only sends, on cores of its own. The one brain stays where it is.

    brain                                    executor process, `python -m tunemill.client.processes`
    pool ── process ── link ══ socket pair ══ link ── serving ── CompletionsClient ── provider
      chooses, restarts                                sends, reads the answer, hands over both

Requests go out and replies come back in batches, one frame for each turn of the event loop (`link`, `messages`). What
is costly about an attempt (HTTP, headers, parsing the answer) is done over there. One that is lost takes
nothing along that the brain counts on: its attempts come back as disconnected, perhaps billed, and another is started.
"""
