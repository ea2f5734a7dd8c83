"""The arrows of the state diagram, a module each.

Every transition is one guarded statement, or one transaction where jobs of the same model contest each other
(`endings`). The statements find leases as `held` names them.

    from        to                          function
    ----        --                          --------
    (new)       Pending                     enqueue.enqueue
    (new)       Processing                  enqueue.enqueue_and_claim   workers wait, and the job is due
    (ended)     Pending                     revive.revive               enqueue of a known job that ended, or with force
    (ended)     Pending                     retry.retry                 an operator starts it again
    Pending     Processing                  claim.claim
    Processing  Processing                  extend.extend
    Processing  Pending                     release.release             the attempt is given back
    Processing  Pending                     release.release_claim       the answer to a claim was lost
    Processing  Completed                   complete.complete
    Processing  Pending or Failed           fail.fail
    Processing  Pending or Failed           fail.expire                 the lease ran out
    (live)      Cancelled                   cancel.cancel

(ended) is Completed, Failed or Cancelled; (live) is Pending or Processing. A lease that was marked by an enqueue with
force ends in Pending in any case. `verdicts` tells why a report found no lease.
"""
