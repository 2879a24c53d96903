"""The small world the base model knows: word tables, every row of them written by us.

Knows words and facts only; :mod:`standalone.base_model.skills` turns them into questions and answers.
The countries and their capitals are invented, so that nobody mistakes the model for an atlas.
"""


def _pairs(rows: str) -> tuple[tuple[str, str], ...]:
    """Read ``left=right`` pairs, separated by semicolons or line ends."""
    cells = rows.replace("\n", ";").split(";")
    halves = [cell.split("=") for cell in cells if cell.strip()]
    return tuple((left.strip(), right.strip()) for left, right in halves)


def _words(rows: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in rows.replace("\n", ",").split(",") if word.strip())


OPPOSITES = _pairs("""
hot=cold; big=small; fast=slow; up=down; left=right; day=night; happy=sad; light=dark; old=young; open=closed
full=empty; hard=soft; high=low; long=short; loud=quiet; near=far; rich=poor; strong=weak; sweet=sour
thick=thin
tall=short; wet=dry; wide=narrow; early=late; easy=difficult; clean=dirty; deep=shallow; heavy=light
inside=outside
first=last; begin=end; buy=sell; push=pull; win=lose; remember=forget; arrive=leave; laugh=cry; love=hate
rise=fall
give=take; north=south; east=west; summer=winter; morning=evening; true=false; good=bad; right=wrong
brave=afraid
smooth=rough; sharp=blunt; warm=cool; above=below; before=after; always=never; friend=enemy; question=answer
start=stop; noisy=silent; calm=stormy; safe=dangerous; simple=complex; awake=asleep; new=old
""")

COLOURS = _pairs("""
grass=green; snow=white; coal=black; a lemon=yellow; a tomato=red; the sky=blue; a carrot=orange
chocolate=brown
a plum=purple; milk=white; a strawberry=red; a banana=yellow; a leaf=green; an elephant=grey; a crow=black
salt=white
a frog=green; the sun=yellow; blood=red; a flamingo=pink; an orange=orange; sand=yellow; a swan=white
a cherry=red
the sea=blue; a cucumber=green; a pumpkin=orange; a raven=black; a polar bear=white; ash=grey
honey=golden; rice=white
a violet=purple; an emerald=green; a ruby=red; a cloud=white; a pea=green; a fire engine=red; a fox=red
butter=yellow
a mouse=grey; a pig=pink; tea=brown; wood=brown; ink=black; a daffodil=yellow; a blueberry=blue
moss=green; rust=brown
""")

CAPITALS = _pairs("""
Veloria=Tamsin; Ostrund=Kell; Marivane=Port Lune; Drumland=Hask; Quillia=Ferra; Nordwick=Stavel; Pelagos=Myra
Zantoria=Ubek; Lumeria=Solin; Karvast=Dorn; Ithmar=Calden; Brell=Wick; Sundara=Oriel; Fennmark=Reed
Galdova=Prenn
Tiramund=Ash; Ellswater=Brook; Corvania=Raven; Hollin=Thorn; Jasparo=Lima Nova; Kestria=Falcon; Ormond=Vale
Pradelle=Rosen; Rimmark=Frost; Silvane=Birch; Tolmar=Quay; Umbria Minor=Dusk; Vantara=Sable; Westerlin=Harrow
Yarrow=Meadow; Zephyria=Gale; Aldermoor=Fenn; Bellmare=Coral; Cindral=Ember; Dovania=Olive; Estmere=Willow
""")

SOUNDS = _pairs("""
cow=moo; dog=woof; cat=meow; duck=quack; sheep=baa; pig=oink; lion=roar; owl=hoot; bee=buzz; snake=hiss
frog=croak
horse=neigh; mouse=squeak; crow=caw; wolf=howl; hen=cluck; bird=tweet; goose=honk; donkey=bray; lamb=bleat
""")

BABIES = _pairs("""
dog=puppy; cat=kitten; cow=calf; horse=foal; sheep=lamb; pig=piglet; hen=chick; duck=duckling
goose=gosling; bear=cub
lion=cub; goat=kid; frog=tadpole; owl=owlet; swan=cygnet; deer=fawn; kangaroo=joey; seal=pup; rabbit=kit
eagle=eaglet
""")

HOMES = _pairs("""
a bird=in a nest; a bee=in a hive; a fish=in the water; a fox=in a den; a spider=in a web; a horse=in a stable
a cow=in a barn; a rabbit=in a burrow; a snail=in its shell; a king=in a castle; an owl=in a hollow tree
a bear=in a cave; a camel=in the desert; a whale=in the sea; a penguin=on the ice; a monkey=in the jungle
a mole=under the ground; a sailor=on a ship; a dog=in a kennel; a pig=in a sty; an ant=in an anthill
a crab=on the shore
""")

USES = _pairs("""
a hammer=to drive nails; a saw=to cut wood; a pen=to write; a spoon=to eat soup; a broom=to sweep the floor
a key=to open a lock; a clock=to tell the time; an umbrella=to stay dry in the rain; a lamp=to light a room
a bed=to sleep; a cup=to drink tea; a needle=to sew cloth; a map=to find the way; a boat=to cross the water
a ladder=to climb up high; a net=to catch fish; an oven=to bake bread; a rope=to tie things
a bell=to call people
a telescope=to look at the stars; a compass=to find north; a kettle=to boil water; a knife=to cut food
a bucket=to carry water; a book=to read; a blanket=to keep warm; a wheel=to roll a cart
a basket=to carry apples
a candle=to make light; a mirror=to see your face; a brush=to paint; a spade=to dig a hole
a bicycle=to ride to school
scissors=to cut paper; a lighthouse=to guide ships; an anchor=to hold a ship in place
a towel=to dry your hands
""")

PLURALS = _pairs("""
child=children; mouse=mice; foot=feet; tooth=teeth; goose=geese; man=men; woman=women; leaf=leaves
knife=knives
wolf=wolves; box=boxes; city=cities; baby=babies; berry=berries; cat=cats; dog=dogs; ship=ships; house=houses
sheep=sheep; fish=fish; bus=buses; wish=wishes; potato=potatoes; key=keys; day=days; tree=trees
star=stars; ox=oxen
loaf=loaves; shelf=shelves; story=stories; lady=ladies; dish=dishes; glass=glasses; boat=boats; wave=waves
""")

PAST = _pairs("""
go=went; see=saw; eat=ate; run=ran; sing=sang; swim=swam; write=wrote; take=took; give=gave; find=found
make=made
come=came; know=knew; think=thought; bring=brought; buy=bought; fly=flew; grow=grew; drink=drank
sleep=slept; keep=kept
walk=walked; play=played; jump=jumped; look=looked; cook=cooked; sail=sailed; help=helped; paint=painted
dance=danced
speak=spoke; break=broke; tell=told; hold=held; stand=stood; build=built; hear=heard; feel=felt
leave=left; meet=met
""")

RHYMES = _pairs("""
cat=hat; sea=tree; light=night; boat=goat; star=car; moon=spoon; house=mouse; rain=train; bell=shell
sand=hand
king=ring; book=cook; fish=dish; ball=wall; day=play; snow=crow; cake=lake; wood=good; fox=box; bee=key
bear=chair
dog=frog; sun=run; ship=trip; bread=head; gold=cold; wave=cave; wind=pinned; stone=bone; flower=tower
tail=sail
""")

MATERIALS = _pairs("""
a window=glass; a book=paper; a table=wood; a coin=metal; a jumper=wool; a brick=clay; bread=flour
a tyre=rubber
a shoe=leather; a castle=stone; cheese=milk; a candle=wax; a nail=iron; a rope=fibre; a snowman=snow
a ring=gold
a shirt=cotton; an omelette=eggs; a raft=logs; a bottle=glass; jam=fruit; a tent=cloth; a sail=canvas
a key=metal
""")

JOBS = _pairs("""
a baker=bakes bread; a teacher=teaches children; a doctor=helps sick people; a farmer=grows food
a sailor=sails a ship
a painter=paints pictures; a pilot=flies a plane; a fisher=catches fish; a gardener=looks after plants
a cook=makes meals
a carpenter=builds things from wood; a tailor=sews clothes; a miller=grinds corn; a judge=decides what is fair
a singer=sings songs; a writer=writes books; a potter=makes pots from clay; a shepherd=looks after sheep
a smith=works with hot iron; a lighthouse keeper=keeps the light burning; a clown=makes people laugh
a librarian=looks after books; a nurse=cares for patients; a driver=drives a bus; a dentist=looks after teeth
""")

NUMBERED = _pairs("""
legs on a dog=four; legs on a spider=eight; legs on a bird=two; legs on an ant=six; days in a week=seven
months in a year=twelve; wheels on a bicycle=two; wheels on a car=four; fingers on a hand=five
hours in a day=twenty-four
minutes in an hour=sixty; seasons in a year=four; sides on a triangle=three; sides on a square=four
eyes on a face=two
arms on an octopus=eight; strings on a violin=four; players in a duet=two; colours in a rainbow=seven
things in a dozen=twelve
wings on a bee=four; corners on a square=four; seconds in a minute=sixty; legs on a chair=four
noses on a face=one
""")

KINDS = {
    "animal": _words(
        "dog, cat, horse, cow, fox, wolf, bear, lion, rabbit, mouse, sheep, goat, pig, deer, camel, whale"
    ),
    "bird": _words(
        "owl, crow, swan, duck, goose, eagle, robin, gull, hen, penguin, raven, sparrow, parrot, puffin"
    ),
    "fruit": _words(
        "apple, pear, plum, cherry, banana, orange, lemon, grape, peach, melon, strawberry, fig, mango"
    ),
    "vegetable": _words(
        "carrot, potato, onion, cabbage, bean, pea, leek, turnip, pumpkin, cucumber, radish, spinach"
    ),
    "tree": _words("oak, birch, willow, pine, maple, elm, ash, beech, cedar, poplar"),
    "flower": _words("rose, tulip, daisy, lily, violet, poppy, daffodil, orchid, bluebell, sunflower"),
    "tool": _words("hammer, saw, spade, drill, axe, rake, chisel, wrench, ladder, brush"),
    "colour": _words("red, blue, green, yellow, purple, pink, brown, grey, white, black, golden, silver"),
    "boat": _words("canoe, ferry, raft, yacht, dinghy, kayak, steamer, barge"),
    "instrument": _words("violin, drum, flute, piano, harp, trumpet, guitar, cello, horn, bell"),
    "drink": _words("milk, tea, water, juice, coffee, cocoa, lemonade, cider"),
    "piece of clothing": _words("coat, hat, shirt, scarf, sock, shoe, glove, jumper, dress, belt, boot, cap"),
}
MASS = {*KINDS["colour"], *KINDS["drink"], "spinach"}  # words that take no article

SIZES = _words("""
an ant, a bee, a mouse, a frog, a duck, a cat, a fox, a sheep, a pony, a horse, a cow, a camel
an elephant, a whale, a house, a ship, a castle, a mountain, the moon, the sun
""")  # from the smallest to the biggest

DAYS = _words("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
MONTHS = _words(
    "January, February, March, April, May, June, July, August, September, October, November, December"
)
SEASONS = _words("spring, summer, autumn, winter")
NAMES = _words("""
Mira, Tom, Ada, Finn, Lena, Oskar, Nell, Hugo, Ivy, Sam, Rosa, Ben, Clara, Theo, Maya, Jonas, Elsa
Max, Ruth, Leo
""")
ADJECTIVES = _words("""
little, old, brave, kind, quiet, clever, tired, hungry, young, friendly, curious, lazy, gentle
lonely, cheerful, shy
""")
PLACES = _words("""
the forest, the river, the village, the beach, the hill, the market, the garden, the harbour
the bridge, the castle, the meadow, the library, the mill, the island, the station, the lake
the kitchen, the school, the field, the tower
""")
THINGS = _words("""
lantern, boat, kite, book, key, cup, basket, bell, coat, map, box, ring, hat, lamp, drum, shell
ladder, ball, chair, letter, bottle, blanket, candle, coin, clock, feather, stone, wagon, mirror
pencil
""")
WEATHER = _words("sunny, rainy, windy, foggy, cold, warm, stormy, snowy, cloudy, bright")
SPELLED = tuple(
    dict.fromkeys(
        [*THINGS, *KINDS["animal"], *KINDS["fruit"], *KINDS["colour"], *KINDS["tree"], *KINDS["tool"]]
    )
)
