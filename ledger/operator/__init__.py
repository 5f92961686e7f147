"""The operator's book: player money, bets, results and reversals."""
