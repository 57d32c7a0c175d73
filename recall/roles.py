"""What the parts of a circuit do: where heads look, what is left without them, which edges stand in for each other.

Written down before these tables:

    heads       A head has a *role* at the row of the prediction if it looks at one landmark with LOOKS or more of its attention there; the
                role counts where corrupting that head at that row alone (its share of the sum, whole context) costs the prediction
                COSTS or more.  Predicted: in 1-after-query heads that look at the needle's label or close label matter; in 2-after-query,
                where a state can be matched, heads that look at the needle's states.
    copy        1-after-query would *copy* a next state already computed at the needle's last payload row if that row alone, before
                the last layer, moved the prediction; both when it comes from a prompt with another map (whole-context) and from one
                with another last state of the same systems (other-states).  Nothing moves: the hypothesis is refuted.
    removal     Separate mechanisms: without 1-after's circuit 2-after-query is left as it is, and the reverse.  Beside it stands the
                removal of as many random edges, for any large removal hurts; only where a task keeps more without the other's
                circuit than without random edges do the circuits part.
    pairs       Backups (either edge is enough) or partners (both are needed) of PAIR or more of the prediction beyond the sum of each.
"""

from __future__ import annotations

LOOKS, COSTS, PAIR = 0.3, 0.1, 0.1  # shares of a row's attention, of the prediction, of the prediction
