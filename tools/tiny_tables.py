"""Small tables of facts from which the training text is made.

Everything here was written for this script. A line of a table has fields separated by "|", so
that a reader can check the facts at a glance and the file stays short.
"""

from __future__ import annotations

from tiny_words import table

SKILLS = table("""
swim|swimming|lake|water
ride a bicycle|riding|street|pedals
play the flute|playing|music room|notes
bake bread|baking|kitchen|dough
climb trees|climbing|orchard|branches
skate|skating|frozen pond|ice
paint pictures|painting|studio|colours
sing|singing|choir|melody
sew|sewing|workshop|needle
read|reading|library|letters
dance|dancing|hall|steps
fish|fishing|pier|net
draw maps|drawing|classroom|lines
write poems|writing|garden|words
juggle|juggling|circus|balls
count to twenty|counting|schoolroom|numbers
""")
WISHES = table("""
a birthday cake|flour, eggs and sugar|mix the dough|birthday
a wooden chair|boards, nails and glue|saw the boards|new house
a warm scarf|wool and two needles|knit the rows|winter
a paper kite|paper, sticks and string|fold the paper|holiday
a bird house|boards and a little paint|cut the boards|garden
a vegetable soup|carrots, onions and beans|chop the vegetables|supper
a bracelet|beads and thread|thread the beads|party
a small boat|planks, rope and a sail|join the planks|summer
a fruit salad|apples, grapes and honey|peel the fruit|picnic
a puppet|cloth, buttons and yarn|stitch the cloth|school play
a lantern|wire, paper and a candle|bend the wire|festival
a picture frame|glass and four sticks|glue the corners|grandmother
""")
ANIMALS = table("""
fox|den|forest|mice and berries|cub|barks|red|tail
bear|cave|mountains|honey and fish|cub|growls|brown|paws
rabbit|burrow|meadow|grass and carrots|bunny|squeaks|grey|ears
hedgehog|nest of leaves|garden|beetles and worms|hoglet|snuffles|brown|spines
wolf|den|forest|meat|pup|howls|grey|teeth
owl|hollow tree|woods|mice|owlet|hoots|brown|eyes
duck|nest|pond|seeds and snails|duckling|quacks|brown|feathers
frog|pond|swamp|flies|tadpole|croaks|green|legs
squirrel|nest|park|nuts|kitten|chatters|red|tail
horse|stable|farm|hay and oats|foal|neighs|brown|mane
cow|barn|farm|grass|calf|moos|white|horns
sheep|fold|farm|grass|lamb|bleats|white|wool
goat|shed|hills|leaves and grass|kid|bleats|white|beard
pig|sty|farm|roots and corn|piglet|grunts|pink|snout
hen|coop|farm|grain|chick|clucks|brown|wings
dog|kennel|yard|meat and bones|puppy|barks|black|nose
cat|basket|house|fish and mice|kitten|meows|grey|whiskers
mouse|hole|field|grain and cheese|pup|squeaks|grey|whiskers
lion|den|savanna|meat|cub|roars|yellow|mane
tiger|lair|jungle|meat|cub|roars|orange|stripes
elephant|open plain|savanna|leaves and bark|calf|trumpets|grey|trunk
monkey|treetop|jungle|fruit|infant|chatters|brown|tail
penguin|colony|south|fish|chick|honks|black|flippers
whale|ocean|sea|tiny shrimp|calf|sings|blue|fins
dolphin|ocean|sea|fish|calf|whistles|grey|fins
turtle|shell|beach|plants|hatchling|hisses|green|shell
deer|thicket|forest|grass and buds|fawn|bleats|brown|antlers
camel|camp|desert|dry plants|calf|grunts|yellow|hump
crow|nest|city|seeds and scraps|chick|caws|black|beak
bee|hive|meadow|nectar|larva|buzzes|yellow|wings
beaver|lodge|river|bark and twigs|kit|slaps its tail|brown|teeth
otter|den|river|fish and crabs|pup|whistles|brown|fur
badger|sett|woods|worms and roots|cub|growls|grey|claws
parrot|hollow tree|jungle|seeds and fruit|chick|talks|green|beak
donkey|stable|farm|hay and thistles|foal|brays|grey|ears
swan|nest|lake|water plants|cygnet|hisses|white|neck
""")
JOBS = table("""
baker|bakes bread|bakery|an oven
doctor|treats sick people|hospital|a stethoscope
teacher|teaches children|school|a blackboard
farmer|grows food|farm|a tractor
carpenter|makes furniture|workshop|a saw
gardener|looks after plants|garden|a spade
sailor|works on a ship|harbour|a rope
cook|prepares meals|kitchen|a pan
tailor|sews clothes|shop|a needle
painter|paints pictures|studio|a brush
fisherman|catches fish|pier|a net
pilot|flies planes|airport|a headset
nurse|cares for patients|hospital|a bandage
blacksmith|shapes hot iron|forge|a hammer
librarian|lends books|library|a catalogue
mechanic|repairs cars|garage|a wrench
postman|delivers letters|post office|a bicycle
firefighter|puts out fires|fire station|a hose
dentist|looks after teeth|clinic|a small mirror
musician|plays music|concert hall|an instrument
shepherd|guards sheep|hills|a long stick
miner|digs for coal|mine|a lamp
weaver|makes cloth|mill|a loom
astronomer|studies the stars|observatory|a telescope
judge|decides cases|court|a gavel
plumber|fixes pipes|basement|a wrench
barber|cuts hair|salon|scissors
driver|drives a bus|station|a steering wheel
engineer|designs machines|office|a computer
programmer|writes code|office|a keyboard
beekeeper|keeps bees|meadow|a smoker
clockmaker|repairs clocks|workshop|tiny screws
""")
OBJECTS = table("""
hammer|iron|driving nails
knife|steel|cutting food
spoon|metal|eating soup
cup|clay|drinking tea
bottle|glass|keeping water
umbrella|cloth|keeping off the rain
key|brass|opening a lock
ladder|wood|climbing up
candle|wax|giving light
pillow|cotton|resting the head
broom|straw|sweeping the floor
needle|steel|sewing cloth
pencil|wood|writing
window|glass|letting in light
rope|hemp|tying things
bucket|tin|carrying water
comb|bone|tidying hair
scissors|steel|cutting paper
tent|canvas|sleeping outside
towel|cotton|drying hands
axe|iron|chopping wood
bell|bronze|calling people
compass|brass|finding north
mirror|glass|seeing your face
coin|copper|paying for things
blanket|wool|keeping warm
boot|leather|walking in mud
basket|willow|carrying fruit
net|string|catching fish
shovel|iron|digging holes
oven|brick|baking bread
clock|brass|telling the time
thermometer|glass|measuring heat
telescope|brass|looking at the stars
ruler|plastic|drawing straight lines
saw|steel|cutting wood
kettle|copper|boiling water
lamp|tin|lighting a room
""")
COLOUR_OF = table("""
sky|blue
grass|green
snow|white
coal|black
blood|red
milk|white
a lemon|yellow
a banana|yellow
an orange|orange
a carrot|orange
chocolate|brown
a ripe tomato|red
a strawberry|red
the sun|yellow
a flamingo|pink
a crow|black
a polar bear|white
a cucumber|green
a pine tree|green
ash|grey
an elephant|grey
a lavender flower|purple
salt|white
gold|yellow
a plum|purple
the sea|blue
a cherry|red
a fire engine|red
sand|yellow
a cloud|white
""")
OPPOSITES = table("""
hot|cold
big|small
tall|short
fast|slow
light|dark
happy|sad
early|late
open|closed
full|empty
hard|soft
wet|dry
young|old
rich|poor
strong|weak
clean|dirty
loud|quiet
deep|shallow
wide|narrow
near|far
heavy|light
high|low
thick|thin
sweet|bitter
smooth|rough
sharp|blunt
right|wrong
brave|timid
simple|complicated
cheap|expensive
safe|dangerous
first|last
up|down
left|right
inside|outside
day|night
summer|winter
begin|end
buy|sell
win|lose
friend|enemy
""")
CAPITALS = table("""
France|Paris
Germany|Berlin
Italy|Rome
Spain|Madrid
Portugal|Lisbon
Russia|Moscow
Japan|Tokyo
China|Beijing
India|New Delhi
Egypt|Cairo
Greece|Athens
Poland|Warsaw
Austria|Vienna
Sweden|Stockholm
Norway|Oslo
Finland|Helsinki
Denmark|Copenhagen
Ireland|Dublin
Hungary|Budapest
Turkey|Ankara
Canada|Ottawa
Cuba|Havana
Peru|Lima
Chile|Santiago
Kenya|Nairobi
Iceland|Reykjavik
Belgium|Brussels
Thailand|Bangkok
Serbia|Belgrade
Armenia|Yerevan
""")
SITES = table("""
library|people read books
market|people buy food
school|children learn
hospital|doctors help the sick
station|trains stop
harbour|ships rest
bakery|bread is made
theatre|actors play
museum|old things are shown
farm|animals are kept
airport|planes land
factory|machines are built
forest|many trees grow
desert|it almost never rains
kitchen|meals are cooked
stable|horses sleep
bank|money is kept
garden|flowers grow
cinema|films are shown
zoo|animals can be watched
post office|letters are sent
lighthouse|a lamp guides ships
mill|grain becomes flour
orchard|fruit trees grow
""")
WHY = table("""
do we sleep|we need to rest
do birds fly south|winter is too cold for them
does ice melt|it gets warm
do plants need water|without water they dry out
do we wear coats|it is cold outside
do we wash our hands|dirt can make us ill
do boats float|they are lighter than the water around them
does bread rise|yeast makes bubbles in the dough
do leaves fall|trees rest in winter
do we eat|food gives us energy
do people use umbrellas|they want to stay dry
do cats purr|they feel comfortable
do dogs wag their tails|they are happy
do bees visit flowers|they collect nectar
does the moon shine|it reflects the light of the sun
do we have clocks|we want to know the time
does a fire need air|without air it goes out
do people whisper|they do not want to be loud
does wood burn|it gets hot enough to catch fire
do children go to school|they want to learn
""")
