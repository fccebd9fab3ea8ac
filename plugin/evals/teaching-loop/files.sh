#!/bin/sh
# Twenty-four tickets about money and about crashes; no model knows these labels.
{
    echo id,text
    number=0
    for text in "I was charged twice this month" "The app closes when I open a photo" \
        "Please refund my last order" "It freezes on the start screen" \
        "The invoice shows the wrong price" "Every export ends with a crash" \
        "My card was billed after I cancelled" "The window hangs and I have to restart"; do
        for who in "" " again" ", please help"; do
            number=$((number + 1))
            echo "$number,\"$text$who\""
        done
    done
} > tickets.csv
