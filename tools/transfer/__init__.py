"""Moving live data between servers: one durable state machine under ``reshard`` and ``federate``.

    move        what goes from where to where: two layouts, and the places that lose and gain rows
    planning    from what an operator asks for to a move
    journal     what was decided and done, on the coordinator: any process goes on from it
    runner      the state machine; one process at a time holds its lease
    preflight   every problem at once, before anything is made
"""
