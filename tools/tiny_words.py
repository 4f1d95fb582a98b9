"""English word lists from which the training text is made, and the readers of lists and tables.

Everything here was written for this script.
"""

from __future__ import annotations


def table(text: str) -> list[list[str]]:
    """Split a block of "a|b|c" lines into rows of fields."""
    return [row.strip().split("|") for row in text.strip().splitlines()]


def words(text: str) -> list[str]:
    """Split a block at commas, because many entries are more than one word."""
    return [part.strip() for part in text.replace("\n", " ").split(",") if part.strip()]


GIRLS = words("""Anna, Mia, Lily, Emma, Clara, Nora, Ruby, Ella, Rosa, Ida, Maya, Zoe, Alice, Grace,
Lucy, Hanna, Julia, Olive, Penny, Sara, Tara, Vera, Wendy, Amber, Daisy, Edith, Flora, Greta, Hazel,
Iris, June, Kate, Laura, Molly, Nina, Paula, Stella, Tilda, Freya, Bella""")
BOYS = words("""Tom, Ben, Max, Sam, Leo, Jack, Finn, Oscar, Peter, Hugo, Adam, Carl, David, Felix,
George, Henry, Ivan, Jonas, Karl, Liam, Martin, Noah, Otto, Paul, Robin, Simon, Theo, Victor,
Walter, Albert, Bruno, Dennis, Edgar, Frank, Gregor, Harry, Jacob, Louis, Mark, Oliver""")
CHARACTER = words("""kind, brave, clever, curious, shy, cheerful, patient, gentle, honest, lazy, quiet,
friendly, careful, stubborn, polite, proud, young, old, little, hungry, playful, thoughtful,
hard-working, sleepy, generous, forgetful, busy, lonely, lucky, funny, calm, bold, modest, grumpy,
wise, merry, loyal, nervous, eager, helpful""")
OBJECT_ADJ = words("""red, blue, green, yellow, white, black, brown, grey, orange, purple, pink, golden,
silver, small, big, round, heavy, light, shiny, wooden, old, new, striped, soft, warm, tiny, long,
strange, bright, pretty""")
FEELINGS_GOOD = words("""happy, proud, glad, grateful, relieved, delighted, calm, excited, cheerful,
thankful, pleased, content""")
FEELINGS_BAD = words("""sad, worried, afraid, angry, upset, lonely, tired, nervous, ashamed,
disappointed, jealous, confused""")
HOMES = words("""near the old mill, at the edge of the forest, in a small village, by the sea,
in a little house on a hill, beside a quiet river, in a big city, on a farm, next to the market,
in a stone cottage, at the end of a narrow street, under a tall oak tree, near the harbour,
in a green valley, on a small island, behind the school, close to the mountains, by a deep lake""")
PLACES = words("""in the forest, in the garden, by the river, at the market, in the kitchen,
in the barn, on the beach, at school, in the library, in the park, on the bridge, in the attic,
in the cellar, behind the house, under the table, near the fountain, at the station, in the tower,
in the meadow, on the roof, in the workshop, under the bed, in the cupboard, by the window,
in the cave, at the harbour, in the bakery, on the hill, in the field, by the pond, in the hall,
behind the curtain, under the stairs, in the drawer, on the shelf, near the gate, in the basket,
beside the well, in the tent, on the balcony""")
WEATHER = words("""sunny, rainy, windy, cloudy, foggy, snowy, stormy, warm, cold, frosty, bright, grey,
hot, misty""")
DAYPART = words(
    "morning, afternoon, evening, day, night, spring morning, summer day, autumn "
    "evening, winter night"
)
FOODS = words("""a slice of bread, an apple, a pear, a bowl of soup, a piece of cheese, a honey cake,
a jar of jam, a handful of nuts, a plum, a carrot, a basket of berries, a pancake, a sandwich,
a boiled egg, a cup of milk, a bunch of grapes, a biscuit, a potato, a pie, a muffin, a peach,
a bar of chocolate, a bag of cherries, a plate of noodles, a roasted chestnut, a banana, an orange,
a pot of porridge, a slice of melon, a bowl of rice""")
THINGS = words("""ball, kite, hat, book, key, coin, ring, scarf, lamp, drum, button, map, boat, doll,
bell, basket, whistle, blanket, watch, pencil, bag, mirror, spoon, ribbon, candle, bottle, box,
feather, umbrella, glove, notebook, ladder, rope, bucket, pillow, necklace, lantern, violin, shell,
letter, stone, cup, brush, jacket, marble, puppet, telescope, wallet, compass, ticket, stamp, shovel,
hammer, flute, teapot, mug, photo, crown, clock, cushion""")
KINDS: dict[str, list[str]] = {
    "fruit": words(
        "apple, pear, plum, cherry, peach, grape, mango, banana, lemon, melon, apricot, fig"
    ),
    "vegetable": words(
        "carrot, onion, potato, cabbage, pepper, beet, radish, pumpkin, leek, "
        "turnip, cucumber, celery"
    ),
    "tree": words(
        "oak, birch, pine, maple, willow, elm, spruce, cedar, poplar, beech, larch, palm"
    ),
    "flower": words("rose, tulip, daisy, lily, violet, poppy, sunflower, orchid, iris, daffodil"),
    "bird": words(
        "eagle, sparrow, robin, swallow, pigeon, gull, stork, falcon, raven, heron, lark"
    ),
    "fish": words("salmon, trout, carp, shark, herring, tuna, cod, pike, perch, eel"),
    "insect": words(
        "ant, beetle, butterfly, moth, wasp, fly, mosquito, cricket, dragonfly, ladybird"
    ),
    "musical instrument": words(
        "piano, guitar, trumpet, drum, harp, cello, clarinet, violin, flute, accordion, tuba, banjo"
    ),
    "sport": words(
        "football, tennis, hockey, chess, rowing, boxing, fencing, archery, golf, skiing"
    ),
    "piece of clothing": words(
        "shirt, coat, skirt, sock, sweater, dress, belt, cap, jacket, vest, apron, cloak"
    ),
    "piece of furniture": words(
        "table, chair, bed, sofa, desk, wardrobe, bench, shelf, stool, armchair"
    ),
    "vehicle": words(
        "car, bus, train, truck, tram, bicycle, ship, plane, tractor, scooter, sledge, van"
    ),
    "tool": words("drill, pliers, spade, rake, chisel, screwdriver, wrench, file, mallet, tongs"),
    "drink": words("tea, coffee, juice, lemonade, cocoa, milk, cider, water"),
    "metal": words("iron, gold, silver, copper, tin, lead, zinc, steel, aluminium, nickel"),
    "shape": words("circle, square, triangle, rectangle, star, oval, cube, sphere, cone, pyramid"),
    "part of the body": words(
        "hand, foot, knee, elbow, shoulder, neck, finger, toe, chin, wrist, ankle"
    ),
    "planet": words("Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus, Neptune"),
    "language": words("English, Russian, French, German, Spanish, Italian, Greek, Turkish, Polish"),
    "season": words("spring, summer, autumn, winter"),
    "spice": words("pepper, cinnamon, ginger, saffron, cumin, vanilla, nutmeg, mint"),
    "room": words("kitchen, bedroom, bathroom, hall, study, nursery, pantry, attic, cellar"),
    "school subject": words(
        "history, geography, biology, physics, chemistry, algebra, music, drawing"
    ),
    "gemstone": words("diamond, ruby, emerald, sapphire, pearl, opal, amber, topaz"),
}
MASS = set(
    words(
        "football, tennis, hockey, chess, rowing, boxing, fencing, archery, golf, "
        "skiing, tea, coffee, juice, lemonade, cocoa, milk, cider, water, iron, gold, "
        "silver, copper, tin, lead, zinc, steel, aluminium, nickel, spring, summer, "
        "autumn, winter, pepper, cinnamon, ginger, saffron, cumin, vanilla, nutmeg, "
        "mint, history, geography, biology, physics, chemistry, algebra, music, drawing, "
        "pliers, tongs, amber, celery"
    )
)
DAYS = words("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
MONTHS = words(
    "January, February, March, April, May, June, July, August, September, October, "
    "November, December"
)
NUMBERS = words(
    "zero, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, "
    "thirteen, fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty"
)
