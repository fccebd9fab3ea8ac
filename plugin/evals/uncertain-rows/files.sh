#!/bin/sh
cat > feedback.csv <<'END'
id,text
1,Best update this year
2,I expected more for this price
3,Awful performance on my laptop
4,The new search finds everything at once
5,Great app and beautiful colours
END
