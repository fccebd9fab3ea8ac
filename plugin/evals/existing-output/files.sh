#!/bin/sh
printf 'id,text\n1,I love the new search\n2,Awful performance on my laptop\n' > feedback.csv
printf 'id,text,prediction,confidence\n1,I love the new search,decided by hand,1\n' > feedback.predicted.csv
