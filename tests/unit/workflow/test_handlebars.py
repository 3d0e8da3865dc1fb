from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow import handlebars, syntax
from airflow_llm_provider.workflow.expressions import Path, Reference, Resolver
from airflow_llm_provider.workflow.handlebars import parse
from airflow_llm_provider.workflow.values import get_item

DATA: dict[str, Any] = {
    "s": "a<b>&\"'",
    "n": 5,
    "z": 0,
    "t": True,
    "none": None,
    "list": ["x", None, {"n": "p"}],
    "people": [{"name": "Ann", "tags": ["a", "b"]}, {"name": "Bo", "tags": []}],
    "obj": {"k1": "v1", "k2": {"n": "q"}},
    "name": "root-name",
    "key": "k1",
    "padded": "  p  ",
    "steps": {"a-b": {"out": "dash"}},
    "a b": "space",
    "len": "a name like a helper",
}


def resolver(data: dict[str, Any]) -> Resolver:
    def resolve(path: Path) -> object:
        value: object = data
        for part in path:
            value = get_item(value, part)
        return value

    return resolve


def render(source: str, **more: Any) -> str:
    return parse(source).render(resolver({**DATA, **more}))


def test_everything_public_exists() -> None:
    assert all(hasattr(handlebars, name) for name in handlebars.__all__)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        # plain text and values
        ("", ""),
        ("no tags { } $ {x} }}", "no tags { } $ {x} }}"),
        ("{{s}}|{{{s}}}|{{& s}}|{{ s }}", "a<b>&\"'|a<b>&\"'|a<b>&\"'|a<b>&\"'"),
        ("{{{ s }}}}", "a<b>&\"'}"),
        ("{{[a b]}}{{steps.a-b.out}}{{steps.[a-b].out}}", "spacedashdash"),
        ("{{list.0}}{{list.[2].n}}{{people.1.name}}", "xpBo"),
        ("{{missing.x.y}}{{none}}", ""),
        ("{{this.n}}{{./n}}{{@root.n}}", "555"),
        ("{{len}}", "a name like a helper"),
        # comments, raw blocks, escapes
        ("a{{! c }}b{{!-- }} c --}}d{{~!-- x --~}} e", "abde"),
        ("{{{{raw}}}} {{n}} ${{ n }} {{{{/raw}}}}", " {{n}} ${{ n }} "),
        (r"\{{n}} \${{ n }} \\{{n}}", r"{{n}} ${{ n }} \5"),
        # blocks
        ("{{#if t}}A{{/if}}{{#if z}}B{{else}}C{{/if}}", "AC"),
        ("{{#if z}}1{{else if none}}2{{else if n}}3{{else}}4{{/if}}", "3"),
        ("{{#if z}}1{{else unless n}}2{{else}}4{{/if}}", "4"),
        ("{{#if z}}1{{^}}2{{/if}}", "2"),
        ("{{#unless z}}A{{else}}B{{/unless}}", "A"),
        ("{{#if (and t (not z))}}both{{/if}}", "both"),
        ("{{#each obj}}{{@key}}={{this}}{{#unless @last}},{{/unless}}{{/each}}", 'k1=v1,k2={"n": "q"}'),
        ("{{#each list}}{{#if @first}}<{{/if}}{{@index}}{{#if @last}}>{{/if}}{{/each}}", "<012>"),
        ("{{#each people as |p i|}}{{i}}{{p.name}}{{p.tags.[0]}};{{/each}}", "0Anna;1Bo;"),
        ("{{#each obj as |value key|}}{{key}}{{#with value as |v|}}{{v}}{{/with}};{{/each}}", 'k1v1;k2{"n": "q"};'),
        (
            "{{#each people}}{{name}}:{{#each tags}}{{../name}}{{.}}{{@../index}}{{else}}-{{/each}} {{/each}}",
            "Ann:Anna0Annb0 Bo:- ",
        ),
        ("{{#each n}}x{{else}}none{{/each}}", "none"),
        ("{{#with obj.k2}}{{n}}{{../n}}{{@root.n}}{{/with}}{{#with none}}x{{else}}y{{/with}}", "q55y"),
        # what is not in the item is missing, also where the root has it
        ("{{#each list}}[{{n}}|{{name}}]{{/each}}", "[|][|][p|]"),
        ("{{#each people as |p|}}{{#each p.tags}}{{p.name}}{{/each}}{{/each}}", "AnnAnn"),
        ("{{#if t}}{{../n}}{{/if}}", "5"),
        # helpers
        ("{{lookup obj key}}{{lookup list 0}}{{lookup obj 'k9'}}", "v1x"),
        ("{{len list}}{{len s}}{{len obj}}{{len none}}", "3720"),
        ("{{eq n 5}} {{eq n 5.0}} {{eq n '5'}} {{eq t true}} {{eq none null}}", "true false false true true"),
        (
            "{{ne n 5}} {{gt n 4}} {{gte n 5}} {{lt n 5}} {{lte '4' n}} {{gt none 1}}",
            "false true true false true false",
        ),
        ("{{and t n}} {{or z none}} {{not z}}", "true false true"),
        ("{{lookup (lookup people 0) 'name'}}", "Ann"),
        ("{{eq 'it\\'s' \"it's\"}}", "true"),
        # partials
        ('{{#*inline "p"}}<{{n}}>{{/inline}}{{> p}}{{>p obj.k2}}', "<5><q>"),
        ('{{#each people}}{{> row}}{{/each}}{{#*inline "row"}}{{name}};{{/inline}}', "Ann;Bo;"),
        # `~` and lines of their own
        ("a {{~n~}} b", "a5b"),
        ("[{{~padded~}} ] [ {{~{padded}~}} ]", "[  p  ] [  p  ]"),
        ("a {{#if t ~}} b {{~/if}} c", "a b c"),
        ("a\n{{#if t}}\nb\n{{else}}\nc\n{{/if}}\nd", "a\nb\nd"),
        ("a\r\n  {{#each list}}  \r\n- {{@index}}\r\n  {{/each}}\t\r\nd", "a\r\n- 0\r\n- 1\r\n- 2\r\nd"),
        ("  {{#if t}}\n  x\n  {{/if}}", "  x\n"),
        ("a\n {{! gone }} \nb\n{{!-- gone\n too --}}\nc", "a\nb\nc"),
        ("a {{#if t}}\nb\n{{/if}} c", "a \nb\n c"),
        ("{{#if t}}{{#if t}}\nx\n{{/if}}{{/if}}\n", "\nx\n\n"),
        ("a\n{{n}}\nb", "a\n5\nb"),
        ('{{#*inline "p"}}\nrow\n{{/inline}}\n  {{> p}}\nend', "  row\nend"),
        # expressions in between
        ("{{n}} + 1 = ${{ n + 1 }}", "5 + 1 = 6"),
        ("${{ '}}' + n }}", "}}5"),
        ('${{ "it\'s }}" }}', "it's }}"),
        ("{{#each people}}{{name}} ${{ name }};{{/each}}", "Ann root-name;Bo root-name;"),
        ("$ {{n}} $${{ n }} ${{{n}}}", "$ 5 $5 $5"),
    ],
)
def test_render(source: str, text: str) -> None:
    assert render(source) == text


@pytest.mark.parametrize(
    ("source", "references"),
    [
        ("{{a.b}} {{ c.[0].[x y] }}", [(("a", "b"), 2), (("c", 0, "x y"), 11)]),
        (
            "{{#each steps.a.items}}{{name}}{{../x}}{{@root.y}}{{@index}}{{/each}}",
            [(("steps", "a", "items"), 8), (("x",), 33), (("y",), 41)],
        ),
        (
            "{{#each a as |item|}}{{#if item.b}}{{item}}{{../c}}{{/if}}{{else}}{{item}}{{/each}}",
            [(("a",), 8), (("c",), 45), (("item",), 68)],
        ),
        ("{{#with a}}{{b}}{{#each c}}{{../d}}{{../../e}}{{/each}}{{/with}}", [(("a",), 8), (("e",), 37)]),
        ("{{#if (gt a.n 5)}}{{b}}{{else if c}}{{/if}}", [(("a", "n"), 10), (("b",), 20), (("c",), 33)]),
        ("{{lookup a b}}{{this.c}}", [(("a",), 9), (("b",), 11), (("c",), 16)]),
        ("{{#each a}}${{ b.c + d }}{{/each}}", [(("a",), 8), (("b", "c"), 15), (("d",), 21)]),
        ('{{#*inline "p"}}{{x}}{{/inline}}{{> p}}{{> p y}}', [(("x",), 18), (("y",), 45)]),
        ("{{{{raw}}}}{{a}}{{{{/raw}}}}{{! {b} }}\\{{c}}", []),
    ],
)
def test_references(source: str, references: list[tuple[Path, int]]) -> None:
    found = parse(source).references
    assert sorted(found, key=lambda one: one.offset) == [Reference(path, offset) for path, offset in references]


@pytest.mark.parametrize(
    ("source", "message", "offset"),
    [
        ("a {{ b", "'{{ b' is not closed; '}}' is missing", 2),
        ("a ${{ b", "'${{ b' is not closed; '}}' is missing", 2),
        ("{{! x", "'{{! x' is not closed; '}}' is missing", 0),
        ("{{{a}} b", "'{{{a}} b' is not closed; '}}' is missing", 0),
        ("x{{}}", "the tag is empty; write the name of a value", 3),
        ("{{ 'lit' }}", "'lit' is a literal; write the name of a value", 2),
        ("{{3}}", "3 is a literal; write the name of a value", 2),
        ("{{ true }}", "true is a literal; write the name of a value", 2),
        ("{{ a + b }}", "found '+', expected a path, a literal or '('; for operators write an expression: ${{ … }}", 5),
        (
            "{{ a == b }}",
            "found '=', expected a path, a literal or '('; comparisons are helpers here, as in (eq a b), and values have no names",
            5,
        ),
        (
            "{{ upper(a) }}",
            "found 'upper(', expected a path, a literal or '('; functions belong in an expression: ${{ … }}",
            3,
        ),
        ("{{ eq a 'b }}", "the text that starts with ' has no end", 8),
        ("{{ (eq a b }}", "found '(' without ')'", 3),
        ("{{ a) }}", "found ')' without '('", 4),
        ("{{ upper a }}", "unknown helper 'upper'; it is a function of expressions: write ${{ upper(…) }}", 3),
        ("{{ lokup a b }}", "unknown helper 'lokup'; did you mean 'lookup'?", 3),
        ("{{ json a }}", "unknown helper 'json'; there are and, eq, gt, gte, len, lookup, lt, lte, ne, not, or", 3),
        ("{{ eq a }}", "helper 'eq' takes 2 values, got 1", 3),
        ("{{ and a }}", "helper 'and' takes at least 2 values, got 1", 3),
        ("{{ a.b c }}", "expected the name of a helper", 3),
        ("{{ len () }}", "expected the name of a helper", 7),
        ("{{#if a}}x", "'#if' is not closed; '{{/if}}' is missing", 0),
        ("{{#if a}}x{{/each}}", "'{{/each}}' closes nothing here; '#if' is still open", 10),
        ("x{{/if}}", "'{{/if}}' closes nothing: no block is open", 1),
        ("{{#iff a}}{{/iff}}", "unknown block '#iff'; did you mean '#if'?", 0),
        ("{{#people}}{{/people}}", "unknown block '#people'; there are #each, #if, #unless, #with", 0),
        ("{{#if eq a b}}{{/if}}", "'#if' takes one value, got 3; put a helper in parentheses, as in (eq a b)", 0),
        ("{{#each}}{{/each}}", "'#each' takes one value, got 0", 0),
        ("{{else}}", "'else' stands in no block", 0),
        ("{{#if a}}{{else}}{{else}}{{/if}}", "'#if' has a second 'else'", 17),
        ("{{@foo}}", "unknown name '@foo'; there are @first, @index, @key, @last, @root", 2),
        ("{{this}}", "outside '#each' and '#with' there is no item; write the name of one value", 2),
        ("{{#if a}}{{.}}{{/if}}", "outside '#each' and '#with' there is no item; write the name of one value", 11),
        ("{{> p}}", "unknown partial 'p'; define it with {{#*inline \"p\"}}", 4),
        ('{{#*inline "row"}}{{/inline}}{{> rwo}}', "unknown partial 'rwo'; did you mean 'row'?", 33),
        ("{{{{foo}}}}x{{{{/foo}}}}", "four braces open a raw block: write '{{{{raw}}}}'", 0),
        ("a{{{{raw}}}}x", "'{{{{raw}}}}' is not closed; '{{{{/raw}}}}' is missing", 1),
        ("ab ${{ 1 + }}", "the expression ends too early, expected a value", 11),
    ],
)
def test_what_does_not_parse(source: str, message: str, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(source)
    assert str(caught.value) == message
    assert caught.value.offset == offset


def test_an_expression_that_fails_tells_its_place_in_the_template() -> None:
    with pytest.raises(ExpressionError, match="division by zero") as caught:
        render("ab ${{ 1 / z }}")
    assert caught.value.offset == 9


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{#if a}}" * 200, "blocks are nested more than 100 levels deep"),
        ("{{ " + "(not " * 200 + "a" + ")" * 200 + " }}", "sub-expressions are nested more than 50 levels deep"),
        ("x" * 1_000_001, "longer than 1,000,000 characters"),
    ],
)
def test_templates_are_bounded(source: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{big}}{{big}}", "longer than 10,000,000 characters"),
        ("{{#each many}}{{#each ../many}}{{/each}}{{/each}}", "turn more than 1,000,000 times"),
        ('{{#*inline "p"}}{{> p}}{{/inline}}{{> p}}', "used inside itself more than 50 levels deep"),
    ],
)
def test_rendering_is_bounded(source: str, message: str) -> None:
    program = parse(source)
    with pytest.raises(ExpressionError, match=message):
        program.render(resolver({"big": "x" * 6_000_000, "many": [0] * 2_000}))


@pytest.mark.parametrize(
    "source", ["{{#each list}}{{/each}}", "{{eq n 5}}", "{{#if (eq n 5)}}{{/if}}", "${{ n + 1 }}!"]
)
def test_time_is_bounded(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setattr(syntax, "MAX_SECONDS", -1.0)
    with pytest.raises(
        ExpressionError, match=r"^the values take longer than -1 s to compute; use less, or smaller ones"
    ):
        render(source)


def test_a_partial_that_uses_itself_ends_where_its_data_ends() -> None:
    tree = {"v": 1, "next": {"v": 2, "next": {"v": 3}}}
    source = '{{#*inline "p"}}{{v}}{{#with next}}{{> p}}{{/with}}{{/inline}}{{> p tree}}'
    assert render(source, tree=tree) == "123"


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "{{",
            "}}",
            "{{{",
            "}}}",
            "~",
            "#if ",
            "/if",
            "#each ",
            "/each",
            "else",
            "a",
            ".b",
            "../",
            "@index",
            "@root",
            "this",
            " ",
            "\n",
            "'",
            '"',
            "(",
            ")",
            "eq ",
            "${{",
            "!",
            "!--",
            "--",
            ">",
            "\\",
            "[x]",
            "|",
            "as |x|",
            "{{#if a}}",
            "{{/if}}",
            "{{#each a}}",
            "{{/each}}",
            "{{b}}",
        ]
    )
).map("".join)


@given(st.text() | FRAGMENTS)
def test_any_text_parses_or_is_an_expression_error(source: str) -> None:
    failure: ExpressionError | None = None
    try:
        program = parse(source)
    except ExpressionError as error:
        failure = error
    if failure is not None:
        assert str(failure)
        assert failure.offset is not None
        assert 0 <= failure.offset <= len(source)
        return
    assert isinstance(program.render(resolver({"a": [1, {"b": 2}]})), str)


@given(st.text(st.characters(exclude_characters="{\\")))
def test_text_without_tags_comes_out_as_it_is(source: str) -> None:
    assert parse(source).render(resolver({})) == source


@pytest.mark.parametrize("name", ["__class__", "__init__", "keys", "format", "real", "__dict__"])
@pytest.mark.parametrize("start", ["s", "n", "list", "obj", "t", "none"])
def test_no_attribute_of_python_is_reachable(start: str, name: str) -> None:
    assert render(f"{{{{{start}.{name}}}}}{{{{lookup {start} '{name}'}}}}") == ""
    assert render(f"{{{{#with {start}}}}}{{{{{name}}}}}{{{{this.{name}}}}}{{{{/with}}}}") == ""
