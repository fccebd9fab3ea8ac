#!/bin/sh
# Every text is clear, so that each processor counts the same.
cat > feedback.csv <<'END'
id,text
1,I love the new search
2,The export crashes every single time and I hate it
3,Best update this year
4,Wonderful support and a friendly answer within the hour
5,Terrible: I lost all my work
6,Arrived on time
7,Great app and beautiful colours
8,Awful performance on my laptop
END
