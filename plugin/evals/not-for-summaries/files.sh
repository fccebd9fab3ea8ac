#!/bin/sh
cat > notes.txt <<'END'
The council met on Tuesday. The old bridge over the canal will be closed from May, because its
bearings are worn. Cyclists can use the lock, cars go round by the station. The repair takes until
October and costs two million.
END
