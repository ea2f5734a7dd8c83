"""The arrows of the state diagram, a module each.

Every transition is one guarded statement, or one transaction that takes its locks first (`endings`, `cancel`,
`forget`). The statements find leases as `held` names them.

    from        to                          function
    ----        --                          --------
    (new)       Pending                     enqueue.enqueue
    (new)       Processing                  enqueue.enqueue_and_claim   workers wait, and the job is due
    (ended)     Pending                     revive.revive               enqueue of a known job that ended
    Pending     Pending                     revive.revive               a waiting retry, or another kind, starts over
    Processing  Processing                  revive.revive               marked: it runs again after the attempt
    (ended)     Pending                     retry.retry                 an operator or a producer starts it again
    Pending     Pending                     retry.retry                 a waiting retry runs at once
    Pending     Processing                  claim.claim
    Processing  Processing                  extend.extend
    Processing  Pending                     release.release             the attempt is given back
    Processing  Pending                     release.release_claim       the answer to a claim was lost
    Processing  Completed                   complete.complete
    Processing  Pending or Failed           fail.fail
    Processing  Pending or Failed           fail.expire                 the lease ran out
    (live)      Cancelled                   cancel.cancel
    (any)       (gone)                      forget.forget

(ended) is Completed, Failed or Cancelled; (live) is Pending or Processing. A lease that an enqueue has marked
ends in Pending, unless its job is cancelled or forgotten. `verdicts` tells why a report found no lease.
"""
